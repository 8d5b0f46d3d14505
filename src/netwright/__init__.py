"""netwright trains deep vision networks and tells you why they train or don't."""
