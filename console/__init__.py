"""Pages and readings for the people who run and try Sokoni."""
