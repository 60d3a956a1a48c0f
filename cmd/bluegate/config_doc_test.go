package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
)

// TestEverySettingIsDocumented holds docs/configuration.md to the settings there
// are and to their defaults.
func TestEverySettingIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*?) \\|").FindAllStringSubmatch(string(page), -1) {
		told[row[1]] = row[2]
	}
	defaults := reflect.ValueOf(app.Default())
	require.Len(t, told, defaults.NumField(), "a setting that is none")
	for f, value := range defaults.Fields() {
		name := f.Tag.Get("yaml")
		require.Contains(t, told, name)
		want := fmt.Sprintf("`%v`", value)
		if d, err := time.ParseDuration(strings.Trim(told[name], "`")); err == nil {
			told[name] = fmt.Sprintf("`%v`", d) // 10m is 10m0s
		}
		if value.Kind() != reflect.Slice && value.String() != "" { // else the page says what that means
			require.Equal(t, want, told[name], name)
		}
	}
}
