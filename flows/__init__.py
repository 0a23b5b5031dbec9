"""The conversations: tables of states with their words beside them. Knows no channel."""
