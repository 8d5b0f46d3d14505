"""Where the runs of the lab are computed: in this process, in several, or by Ray."""
