package main

import (
	"os"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
)

// TestEverySettingIsDocumented holds docs/configuration.md to the settings there are.
func TestEverySettingIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	c := reflect.TypeFor[app.Config]()
	for i := range c.NumField() {
		name := c.Field(i).Tag.Get("yaml")
		require.NotEmpty(t, name, c.Field(i).Name)
		require.Contains(t, string(page), "| `"+name+"` |")
	}
}
