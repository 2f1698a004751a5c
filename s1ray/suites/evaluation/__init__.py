"""What the evaluation suite measures: grader, replicas, kills and stream."""
