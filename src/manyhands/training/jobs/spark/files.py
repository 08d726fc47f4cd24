"""The files of a task's folder: what the worker leaves in them for the task, and this for the driver."""

RESULT, MODEL, EVENTS, ERROR = "result.json", "model.safetensors", "events.jsonl", "error.json"
JOB, SAID, DONE = "job.json", "said", "done"
"""What the worker is to do, what it has printed, and that it has done its work well."""
