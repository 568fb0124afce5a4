"""The Celery app that both sides share: one configuration, every value with its reason.

Celery carries, executes and shows. It never remembers for us: SQL does, so a lost message costs seconds and a doubled
one finds its token spent.
"""

from typing import Any

from celery import Celery

from storage.wire.broker_safety import celery_url

RENDER = "seedfarm.render"
RECORD = "seedfarm.record"
VISIBILITY_S = 12 * 3600  # far above any chunk: a redelivery would only find its token spent


def make_app(broker_url: str, *, role: str) -> Celery:
    """Build the app for one process.

    Args:
        broker_url: redis://..., rediss://... or unix://...
        role: Shown in Redis' client list: "dispatcher", "worker", "flower".
    """
    app = Celery("seedfarm", broker=celery_url(broker_url), set_as_current=False)
    app.conf.update(configuration(role))
    return app


def configuration(role: str) -> dict[str, Any]:
    """Settings that every process of the farm shares; a differing visibility time-out would re-issue others' work."""
    return {
        "accept_content": ["json"],  # pickle is remote code execution
        "worker_consumer": "storage.wire.guarded:GuardedConsumer",  # a stranger's message must not end a worker
        "task_serializer": "json",
        "event_serializer": "json",
        "task_ignore_result": True,  # SQL is the record; no result backend
        "task_acks_late": True,  # with prefetch 1: exactly one message in hand, the next stays in Redis
        "worker_prefetch_multiplier": 1,
        "task_reject_on_worker_lost": False,  # a dead child is re-offered by SQL, with attempts counted
        "task_acks_on_failure_or_timeout": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # a broker's blip must not unload a model
        "worker_pool": "prefork",
        "worker_concurrency": 1,
        "worker_pool_start_method": "spawn",  # CUDA does not survive fork
        "worker_proc_alive_timeout": 300,  # the child imports torch; 4 s would kill every replacement for ever
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # the default gives up after 100
        "broker_pool_acquire_timeout": 10,
        "task_publish_retry": False,  # the feeder tries again from SQL
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "queue_order_strategy": "priority",
            "socket_timeout": 30,  # without it a publish can hang for ever
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "client_name": f"seedfarm-{role}",
        },
    }
