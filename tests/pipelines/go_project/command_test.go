package cobra

import "testing"

func TestName(t *testing.T) {
	if Name == "" {
		t.Error("it has none")
	}
}
