"""What speaks to people: one file a gateway. Parses, draws, sends; decides nothing."""
