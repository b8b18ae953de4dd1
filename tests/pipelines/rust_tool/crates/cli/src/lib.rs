//! What programs on a command line share.
