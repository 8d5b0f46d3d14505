"""What a run leaves behind: its folder, its row in the run store, and how sure its numbers are. No torch."""
