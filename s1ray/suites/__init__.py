"""What jobs.benchmark measures: one side against another, each suite a module, or a room, with its parts."""
