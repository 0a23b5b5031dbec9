"""Load: how many hops a second the production server answers, beside the least they can cost."""
