package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bluegate/bluegate/internal/bbbsim"
)

// asProgram in the environment makes the test's binary the program itself.
const asProgram = "BLUEGATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"bluegate": main})
}

// TestCLI runs the command line as an operator does; see testdata/*.txtar.
func TestCLI(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			sim := bbbsim.New(bbbsim.Config{Name: "bbb1", Secret: "the-server-secret"})
			if _, err := sim.Start(); err != nil {
				return err
			}
			e.Defer(sim.Close)
			e.Setenv("SERVER", sim.URL())
			e.Setenv("BLUEGATE_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Setenv("BLUEGATE_LISTEN", "127.0.0.1:0")
			e.Setenv("BLUEGATE_ADMIN_LISTEN", "127.0.0.1:0")
			e.Setenv("BLUEGATE_PUBLIC_URL", "https://gateway.example.com")
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+os.Getenv("PATH"))
			return nil
		},
	})
}
