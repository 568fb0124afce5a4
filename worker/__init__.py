"""One chunk into stored images and a manifest: the only room that knows torch, and one that never speaks SQL.

`supervisor` starts a `node` per device; a node is a Celery parent with one `child`, which owns the device. In the
child the main thread renders (`diffusion`, or `fake`), a thread called link speaks to Redis, and a few threads encode
and store (`runs`).
"""
