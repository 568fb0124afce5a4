"""What dispatcher and workers share on the broker: the Celery app, the names of keys and queues, the messages."""
