"""The tables. A row exists for what was submitted, issued, made or failed; never for what is only planned.

Times are Unix seconds of the host that wrote them, for people; no decision rests on them.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)

SCHEMA_HEAD = "0007"  # the newest migration; a test holds it equal to Alembic's head

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

leader = Table(
    "leader", metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("epoch", BigInteger, nullable=False),  # one more with every new leader
    Column("beat", BigInteger, nullable=False),  # one more with every transaction of the leader
    Column("holder", Text, nullable=False),  # host:pid:random, empty when given up
)  # fmt: skip

job = Table(
    "job", metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("source", Text, nullable=False),  # the words after ./farm that go on with it
    Column("spec_hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wish", Text, nullable=False),
    Column("reason", Text),  # why it failed
    Column("positions", BigInteger, nullable=False),  # in render order, empty places included
    Column("images", BigInteger, nullable=False),  # positions less the empty ones, and takes
    Column("cursor", BigInteger, nullable=False),  # positions in render order that were cut into chunks
    Column("chunks", Integer, nullable=False),  # how many were cut; the next one's number
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("linked", BigInteger, nullable=False, server_default="0"),  # of the done ones: not rendered for this job
    Column("rejected", BigInteger, nullable=False, server_default="0"),  # of the done ones, by the job's quality rules
    Column("has_rules", Boolean, nullable=False, server_default=false()),  # its spec says what is rejected
    Column("judged", Boolean, nullable=False, server_default=false()),  # its quality rules were applied to all it has
    Column("short", BigInteger, nullable=False, server_default="0"),  # cells that lack accepted images for good
    Column("forgiven", BigInteger, nullable=False, server_default="0"),  # failed before its user said: go on
    Column("priority", Text, nullable=False, server_default="normal"),  # a wish
    Column("reuse", Text, nullable=False, server_default="off"),
    Column("deadline", Float),  # a wish: Unix seconds; nothing is issued after it
    Column("max_device_seconds", Float),  # a wish: nothing is issued once so many are spent
    Column("device_seconds", Float, nullable=False, server_default="0"),  # spent, by the manifests that were recorded
    Column("retry", JSON(none_as_null=True)),  # a wish: failed images to try once more; []: all
    Column("specs", JSON, nullable=False, server_default="[]"),  # hashes, before it was extended
    Column("models", JSON),  # name in the job file -> facts; null until resolved
    Column("seconds_per_image", Float),  # of one worker, lately
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("issued_at", Float),  # when it last got a device
    Column("finished_at", Float),
    Index(None, "state"),
    Index(None, "spec_hash"),
    Index(None, "created_at"),
)  # fmt: skip

plan = Table(
    "plan", metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("body", JSON, nullable=False),
)  # fmt: skip

job_plan = Table(
    "job_plan", metadata,
    Column("job", Text, ForeignKey("job.id"), primary_key=True),
    Column("width", Integer, primary_key=True),  # pixels
    Column("height", Integer, primary_key=True),
    Column("plan", Integer, ForeignKey("plan.id"), nullable=False),
)  # fmt: skip

chunk = Table(
    "chunk", metadata,
    Column("job", Text, ForeignKey("job.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # resolve | render | link (images of other jobs; never issued)
    Column("state", Text, nullable=False),
    Column("ranges", JSON, nullable=False),
    Column("images", Integer, nullable=False),
    Column("plan", Integer, ForeignKey("plan.id")),
    Column("model", Text),  # name in the job file
    Column("attempt", Integer, nullable=False),  # 0 before the first publish
    Column("node", Text),
    Column("boot", Text),
    Column("faults", Integer, nullable=False, server_default="0"),  # attempts that its images may have ended
    Column("avoid", JSON, nullable=False, server_default="[]"),  # nodes that failed it, or what it was cut from
    Column("manifest", Text),  # key of the one that was recorded
    Column("noted", Boolean, nullable=False, server_default=false()),  # the store was told how it ended
    Index(None, "state"),
    Index(None, "noted"),
)  # fmt: skip

attempt = Table(
    "attempt", metadata,
    Column("job", Text, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),  # 0: of the lost chunk that this one is the rest of
    Column("node", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("issued_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", Text),  # recorded | lost: why
    ForeignKeyConstraint(["job", "chunk"], ["chunk.job", "chunk.number"]),
)  # fmt: skip

prompt = Table(
    "prompt", metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("text", Text, nullable=False),
)  # fmt: skip

model = Table(
    "model", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("family", Text, nullable=False),
    UniqueConstraint("name", "digest"),
)  # fmt: skip

registered_model = Table(
    "registered_model", metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # one of storage.models.KINDS
    Column("source", Text, nullable=False),  # frozen: store:sha256:... or owner/name@commit of the hub
    Column("digest", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("variant", Text),
    Column("license", Text),
    Column("added_by", Text, nullable=False),
    Column("added_at", Float, nullable=False),
)  # fmt: skip

environment = Table(
    "environment", metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("body", JSON, nullable=False),
)  # fmt: skip

image = Table(
    "image", metadata,
    Column("job", Text, ForeignKey("job.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    Column("prompt", Integer, ForeignKey("prompt.id")),  # null where the mode takes none
    Column("negative_prompt", Integer, ForeignKey("prompt.id")),
    Column("seed", BigInteger, nullable=False),
    Column("scheduler", Text, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("guidance_scale", Float),  # null where the model takes none
    Column("width", Integer, nullable=False),  # pixels
    Column("height", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("options", JSON, nullable=False, server_default="{}"),  # recipe keys without a column -> short values
    Column("model", Integer, ForeignKey("model.id"), nullable=False),
    Column("plan", Integer, ForeignKey("plan.id"), nullable=False),
    Column("environment", Integer, ForeignKey("environment.id"), nullable=False),
    Column("recipe_hash", Text, nullable=False),
    Column("linked_job", Text),  # where it was rendered, if for another job
    Column("linked_number", BigInteger),
    Column("key", Text),
    Column("preview_key", Text),
    Column("sha256", Text),
    Column("pixel_sha256", Text),
    Column("truncated", Boolean, nullable=False, server_default=false()),  # of the prompt, the model read a part
    Column("nsfw", Boolean, nullable=False, server_default=false()),  # the safety checker blackened it
    Column("low_variance", Boolean, nullable=False, server_default=false()),  # of nearly one colour
    Column("bytes", BigInteger),
    Column("xxh3_64", Text),  # of the object, 16 hex digits: proves a read at a hundredth of the cost of SHA-256
    Column("phash", Text),  # perceptual hash, 16 hex digits
    Column("scores", JSON, nullable=False, server_default="{}"),  # what scorers gave: name -> number
    Column("rejected", Text),  # why it is not accepted; null: accepted, or not judged yet
    Column("finish", Text, nullable=False, server_default=""),  # `finish_of`: how it was encoded and measured
    Column("chunk", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("run", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("render_s", Float),  # this image's share of its batch
    Column("encode_s", Float),
    Column("upload_s", Float),
    Column("reason", Text),  # of a failed image
    Column("detail", Text),
    Column("recorded_at", Float, nullable=False),
    Index(None, "job", "state"),
    Index(None, "job", "recorded_at"),
    Index(None, "recipe_hash"),
    Index(None, "pixel_sha256"),
    Index(None, "key"),
)  # fmt: skip

plan_limit = Table(
    "plan_limit", metadata,  # what does not fit where
    Column("device", Text, primary_key=True),  # `device_key` of a worker's heartbeat
    Column("plan", Integer, ForeignKey("plan.id"), primary_key=True),
    Column("model", Text, primary_key=True),  # digest of the checkpoint
    Column("width", Integer, primary_key=True),  # pixels
    Column("height", Integer, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("found_at", Float, nullable=False),
)  # fmt: skip

rest = Table(
    "rest", metadata,  # a worker that keeps failing with a checkpoint is left alone for a while
    Column("node", Text, primary_key=True),
    Column("model", Text, primary_key=True),  # digest of the checkpoint, "" while a job's models are unknown
    Column("failures", Integer, nullable=False),  # in a row
    Column("until", Float, nullable=False),  # Unix seconds
)  # fmt: skip

worker_wish = Table(
    "worker_wish", metadata,
    Column("node", Text, primary_key=True),
    Column("wish", Text, nullable=False),  # drain | stop
    Column("wished_at", Float, nullable=False),
)  # fmt: skip

event = Table(
    "event", metadata,  # what `farm logs` shows beside attempts
    Column("id", Integer, primary_key=True),
    Column("job", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "job", "id"),
)  # fmt: skip
