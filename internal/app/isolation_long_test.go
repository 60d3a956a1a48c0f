//go:build long

package app_test

import "testing"

// TestT27_IsolationPropertyLong is TestT27_IsolationProperty with more and
// longer sequences.
func TestT27_IsolationPropertyLong(t *testing.T) {
	isolation(t, isolationRun{total: 6000, longest: 120})
}

// TestT27_IsolationUnderFaultsLong is TestT27_IsolationUnderFaults with more and
// longer sequences.
func TestT27_IsolationUnderFaultsLong(t *testing.T) {
	isolation(t, isolationRun{total: 2000, longest: 80, faults: true})
}
