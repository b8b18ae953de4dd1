package cobra

// Name is what the command is called by.
const Name = "cobra"
