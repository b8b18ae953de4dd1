package main

import (
	"fmt"
	"os"
)

func main() {
	switch os.Args[1] {
	case "version":
		fmt.Println(version)
	case "export":
		fmt.Print("TEST_EXPORT_DIRENV_GITHUB_ACTIONS=")
		fmt.Println(os.Getenv("GITHUB_SHA"), os.Getenv("GITHUB_RUN_ID"), os.Getenv("GITHUB_RUN_NUMBER"))
	}
}
