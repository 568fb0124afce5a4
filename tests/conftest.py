"""What all tests share: the real servers, each started by the first test that asks for it."""

from hypothesis import settings

pytest_plugins = ["servers.fixtures"]

# A slow machine is no failed property; pytest-timeout holds the limit.
settings.register_profile("farm", deadline=None)
settings.load_profile("farm")
