// Package internal_test checks the layering of the whole module.
package internal_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/bluegate/bluegate/"

// layers says which layers each layer may import; its own packages always. A
// package belongs to the layer with the longest name that it equals or lies
// under. .golangci.yml repeats this for editors.
//
// Packages whose names end in "test" support tests: only tests and their like
// may import them.
var layers = func() map[string][]string {
	bottom := []string{"internal/bbb", "internal/fault"}
	base := append([]string{"internal/tenant", "internal/pool"}, bottom...)
	rules := append([]string{"internal/recording", "internal/callback", "internal/usage"}, base...)
	meeting := append([]string{"internal/meeting"}, rules...)
	edges := append([]string{"internal/gateway", "internal/admin", "internal/store", "internal/live"}, meeting...)
	app := append([]string{"internal/app", "internal/bbbsim", "migrations"}, edges...)
	return map[string][]string{
		"internal/bbb":         nil,
		"internal/fault":       nil,
		"internal/tenant":      bottom,
		"internal/pool":        bottom,
		"internal/recording":   base,
		"internal/callback":    base,
		"internal/usage":       base,
		"internal/meeting":     rules,
		"internal/gateway":     meeting,
		"internal/admin":       meeting,
		"internal/live":        meeting,
		"internal/store":       append([]string{"migrations"}, meeting...),
		"internal/bbbsim":      nil,
		"internal/app":         append([]string{"migrations"}, edges...),
		"internal/app/apptest": append([]string{"internal/app"}, app...),
		"migrations":           nil,
		"cmd":                  app,
	}
}()

// owners says who alone may import a library, by the beginning of its path.
// With an empty list it is for tests and what supports them.
var owners = map[string][]string{
	"gorm.io/":                    {"internal/store"},
	"github.com/redis/go-redis":   {"internal/live/redis"},
	"github.com/gin-gonic/gin":    {"internal/gateway", "internal/admin"},
	"github.com/spf13/cobra":      {"cmd"},
	"github.com/stretchr/testify": {},
	"pgregory.net/rapid":          {},
	"testing":                     {},
}

// pkg is a package and what it imports other than in tests.
type pkg struct {
	path    string
	imports []string
}

func TestImportsPointDownwardOnly(t *testing.T) {
	packages := list(t)
	require.Greater(t, len(packages), 3, "too few packages found to believe it")
	for _, problem := range check(packages) {
		t.Error(problem)
	}
}

func TestCheckFindsForbiddenImports(t *testing.T) {
	for _, c := range []struct {
		from, to, problem string
	}{
		{module + "internal/meeting", module + "internal/pool", ""},
		{module + "internal/live/memory", module + "internal/live", ""},
		{module + "cmd/bluegate", module + "internal/app", ""},
		{module + "internal/store", "gorm.io/driver/postgres", ""},
		{module + "internal/bbb", "net/http", ""},
		{module + "internal/live/livetest", "testing", ""},
		{module + "internal/store/storetest", module + "internal/store/pgtest", ""},
		{module + "internal/pool", module + "internal/meeting", "internal/pool must not import internal/meeting"},
		{module + "internal/gateway", module + "internal/store", "internal/gateway must not import internal/store"},
		{module + "internal/bbb", module + "internal/bbbsim", "internal/bbb must not import internal/bbbsim"},
		{module + "internal/store", module + "internal/store/pgtest", "internal/store must not import internal/store/pgtest"},
		{module + "internal/pool", "testing", "internal/pool must not import testing: it is for tests only"},
		{module + "internal/live/memory", "github.com/redis/go-redis/v9", "internal/live/memory must not import github.com/redis/go-redis/v9"},
		{module + "internal/tenant", "gorm.io/gorm", "internal/tenant must not import gorm.io/gorm"},
		{module + "internal/bbb", "golang.org/x/sync/errgroup", "internal/bbb must not import golang.org/x/sync/errgroup"},
		{module + "internal/util", "fmt", "internal/util belongs to no layer"},
	} {
		problems := check([]pkg{{path: c.from, imports: []string{c.to}}})
		if c.problem == "" {
			require.Empty(t, problems)
			continue
		}
		require.Len(t, problems, 1, "%s -> %s", c.from, c.to)
		require.Contains(t, problems[0], c.problem)
	}
}

// check returns what is wrong with the imports of the packages.
func check(packages []pkg) []string {
	var problems []string
	for _, p := range packages {
		name := strings.TrimPrefix(p.path, module)
		layer, known := layerOf(name)
		if !known {
			problems = append(problems, fmt.Sprintf(
				"%s belongs to no layer: find its place in the design, then add it to this test and to .golangci.yml", name))
			continue
		}
		for _, imported := range p.imports {
			if reason := forbidden(name, layer, imported); reason != "" {
				problems = append(problems, fmt.Sprintf(
					"%s must not import %s: %s", name, strings.TrimPrefix(imported, module), reason))
			}
		}
	}
	return problems
}

// forbidden returns why a package may not import another, or nothing.
func forbidden(name, layer, imported string) string {
	if target, ours := strings.CutPrefix(imported, module); ours {
		targetLayer, _ := layerOf(target)
		if supportsTests(target) && !supportsTests(name) {
			return "it is for tests only"
		}
		if targetLayer == layer || slices.Contains(layers[layer], targetLayer) {
			return ""
		}
		return fmt.Sprintf("layer %s may import only %v", layer, layers[layer])
	}
	domain, _, _ := strings.Cut(imported, "/")
	if layer == "internal/bbb" && strings.Contains(domain, ".") {
		return "this package uses the standard library only"
	}
	for library, allowed := range owners {
		if !strings.HasPrefix(imported, library) {
			continue
		}
		if len(allowed) == 0 {
			if !supportsTests(name) {
				return "it is for tests only"
			}
			continue
		}
		if !slices.ContainsFunc(allowed, func(owner string) bool { return within(name, owner) }) {
			return fmt.Sprintf("only %v may", allowed)
		}
	}
	return ""
}

func layerOf(name string) (layer string, known bool) {
	for candidate := range layers {
		if within(name, candidate) && len(candidate) > len(layer) {
			layer = candidate
		}
	}
	return layer, layer != ""
}

func supportsTests(name string) bool {
	return strings.HasSuffix(name, "test")
}

func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// list reads the imports of all packages of the module, whatever their build
// tags. It reads the files itself: of a `go list` the test cache would see
// nothing and go on reporting an old result.
func list(t *testing.T) []pkg {
	t.Helper()
	imports := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testdata" || (strings.HasPrefix(name, ".") && name != "..") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel("..", filepath.Dir(path))
		if err != nil {
			return err
		}
		importPath := module + filepath.ToSlash(folder)
		if imports[importPath] == nil {
			imports[importPath] = []string{} // counts even without imports
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(imports[importPath], imported) {
				imports[importPath] = append(imports[importPath], imported)
			}
		}
		return nil
	})
	require.NoError(t, err)
	var packages []pkg
	for _, importPath := range slices.Sorted(maps.Keys(imports)) {
		packages = append(packages, pkg{importPath, imports[importPath]})
	}
	return packages
}
