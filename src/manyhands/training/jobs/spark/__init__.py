"""Training inside Apache Spark: one barrier stage, whose tasks are the workers."""
