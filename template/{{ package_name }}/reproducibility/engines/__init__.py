"""Where runs are computed: on this machine or on the nodes of a cluster, each in a process of its own."""
