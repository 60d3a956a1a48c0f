//go:build long

package app_test

import "testing"

// TestT27_IsolationPropertyLong is TestT27_IsolationProperty with more and
// longer sequences.
func TestT27_IsolationPropertyLong(t *testing.T) {
	isolation(t, isolationRun{sequences: 100, steps: 60})
}

// TestT27_IsolationUnderFaultsLong is TestT27_IsolationUnderFaults with more and
// longer sequences.
func TestT27_IsolationUnderFaultsLong(t *testing.T) {
	isolation(t, isolationRun{sequences: 60, steps: 40, faults: true})
}
