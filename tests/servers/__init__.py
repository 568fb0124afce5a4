"""Real servers for tests: Valkey, PostgreSQL and two S3 servers, each in a temporary folder on a free port.

Two variables rule them. SEEDFARM_STRICT=1: a server that is missing fails the tests that need it, instead of skipping
them. SEEDFARM_TEST_S3=http://host:port: a further S3 server to test against, with its credentials in AWS_*.
"""
