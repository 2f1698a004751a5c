"""What jobs.benchmark measures: one side against another, each suite a module with its parts."""
