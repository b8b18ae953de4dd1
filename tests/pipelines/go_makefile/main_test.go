package main

import "testing"

func TestVersion(t *testing.T) {
	if version != "2.32.1" {
		t.Error(version)
	}
}
