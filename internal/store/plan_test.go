package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlans holds that every statement of the hot paths is answered by the
// index meant for it, on PostgreSQL also with the plan that it uses for any
// value: a predicate that were bound would lose its partial index there.
func TestPlans(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		w.claimRoom("r")
		conn, err := w.pools.writeSQL.Conn(ctx)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		for i, c := range []struct{ statement, index string }{
			{selectRoom, "claims_room"},
			{selectInternalID, "claims_internal_id"},
			{selectLive, "claims_present"},
			{selectHeads, "claims_seq"},
			{selectChanges, "claims_seq"},
			{"SELECT MAX(generation) FROM claims WHERE tenant_id = ? AND external_id = ?", "claims_generation"},
		} {
			var statements []string
			if w.Dialect() == "sqlite" {
				statements = []string{"EXPLAIN QUERY PLAN " + c.statement}
			} else {
				args := strings.Repeat(", NULL", strings.Count(c.statement, "?"))[2:]
				statement := c.statement
				for n := 1; strings.Contains(statement, "?"); n++ {
					statement = strings.Replace(statement, "?", fmt.Sprintf("$%d", n), 1)
				}
				statements = []string{
					"SET enable_seqscan = off", "SET enable_bitmapscan = off", "SET enable_sort = off",
					"SET plan_cache_mode = force_generic_plan",
					fmt.Sprintf("PREPARE p%d AS %s", i, statement), fmt.Sprintf("EXPLAIN EXECUTE p%d (%s)", i, args),
				}
			}
			var plan strings.Builder
			for _, statement := range statements {
				args := make([]any, strings.Count(statement, "?"))
				rows, err := conn.QueryContext(ctx, statement, args...)
				require.NoError(t, err, statement)
				columns, err := rows.Columns()
				require.NoError(t, err)
				for rows.Next() {
					values := make([]any, len(columns))
					for i := range values {
						values[i] = new(any)
					}
					require.NoError(t, rows.Scan(values...))
					fmt.Fprintln(&plan, *values[len(values)-1].(*any))
				}
				require.NoError(t, rows.Err())
				require.NoError(t, rows.Close())
			}
			require.Regexp(t, `(?i)using (covering )?(index )?`+c.index+`\b`, plan.String(), c.statement)
			require.NotContains(t, plan.String(), "TEMP B-TREE")
			require.NotContains(t, plan.String(), "Sort ")
		}
	})
}
