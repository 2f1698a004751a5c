"""What jobs.benchmark measures, one side against another; a suite is a module or a room."""
