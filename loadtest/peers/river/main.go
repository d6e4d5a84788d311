// River with jobs that do nothing, for the benchmarks beside it: a backlog comes in, is worked off, or both at once.
//
// It gets its parameters as one JSON argument, says what happened in JSON lines on stdout, and ends when its standard
// input does. Completions are counted from River's own subscription, which hears of a job once its completer has
// committed it, as in `river bench`.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	submitBatchJobs = 2_000
	lifeBatchJobs   = 500
	lifeSubmitters  = 2
	emptyBytes      = len(`{"text":""}`)
)

type life struct {
	PayloadBytes  int  `json:"payloadBytes"`
	OpenMax       int  `json:"openMax"`
	Preloaded     int  `json:"preloaded"`
	WarmUpSeconds int  `json:"warmUpSeconds"`
	Seconds       int  `json:"seconds"`
	IsDrained     bool `json:"isDrained"`
}

type params struct {
	Act          string `json:"act"`
	DatabaseURL  string `json:"databaseUrl"`
	Jobs         int    `json:"jobs"`
	WarmUpJobs   int    `json:"warmUpJobs"`
	PayloadBytes int    `json:"payloadBytes"`
	Life         life   `json:"life"`
	Settings     struct {
		MaxWorkers          int `json:"maxWorkers"`
		FetchCooldownMs     int `json:"fetchCooldownMs"`
		FetchPollIntervalMs int `json:"fetchPollIntervalMs"`
	} `json:"settings"`
}

type benchArgs struct {
	Text string `json:"text"`
}

func (benchArgs) Kind() string { return "bench" }

type benchWorker struct {
	river.WorkerDefaults[benchArgs]
}

func (*benchWorker) Work(context.Context, *river.Job[benchArgs]) error { return nil }

// peer is River and what it has committed.
type peer struct {
	client    *river.Client[pgx.Tx]
	committed atomic.Int64
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
		close(stopped)
	}()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stopped
}

func run(ctx context.Context) error {
	var given params
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, given.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrate(ctx, pool); err != nil {
		return err
	}
	switch given.Act {
	case "submit":
		return submit(ctx, pool, given)
	case "drain":
		return drain(ctx, pool, given)
	case "live":
		return live(ctx, pool, given)
	}
	return fmt.Errorf("there is no act %q", given.Act)
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func submit(ctx context.Context, pool *pgxpool.Pool, given params) error {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	for left := given.Jobs; left > 0; left -= submitBatchJobs {
		if err := insert(ctx, client, min(submitBatchJobs, left), given.PayloadBytes); err != nil {
			return err
		}
	}
	say("submitted", map[string]int{"jobs": given.Jobs})
	return nil
}

func drain(ctx context.Context, pool *pgxpool.Pool, given params) error {
	subject, stop, err := start(ctx, pool, given)
	if err != nil {
		return err
	}
	defer stop()
	if err := subject.until(ctx, given.WarmUpJobs); err != nil {
		return err
	}
	warmAtMs := nowMs()
	if err := subject.until(ctx, given.Jobs); err != nil {
		return err
	}
	say("drained", map[string]float64{"warmAtMs": warmAtMs, "lastVerdictAtMs": nowMs()})
	return nil
}

// live keeps so many jobs open, and measures what is committed meanwhile; keep-busy.ts does the same for others.
func live(ctx context.Context, pool *pgxpool.Pool, given params) error {
	subject, stop, err := start(ctx, pool, given)
	if err != nil {
		return err
	}
	defer stop()
	var submitted atomic.Int64
	submitted.Store(int64(given.Life.Preloaded))
	var isOver atomic.Bool
	failed := make(chan error, lifeSubmitters)
	for range lifeSubmitters {
		go func() { failed <- subject.keepOpen(ctx, given.Life, &submitted, &isOver) }()
	}
	if err := subject.until(ctx, 1); err != nil {
		return err
	}
	if err := pause(ctx, failed, time.Duration(given.Life.WarmUpSeconds)*time.Second); err != nil {
		return err
	}
	say("warm", subject.mark())
	perSecond := []int64{}
	last := subject.committed.Load()
	next := time.Now()
	for range given.Life.Seconds {
		next = next.Add(time.Second)
		if err := pause(ctx, failed, time.Until(next)); err != nil {
			return err
		}
		now := subject.committed.Load()
		perSecond = append(perSecond, now-last)
		last = now
	}
	say("lived", subject.mark())
	isOver.Store(true)
	for range lifeSubmitters {
		if err := <-failed; err != nil {
			return err
		}
	}
	if given.Life.IsDrained {
		if err := subject.until(ctx, int(submitted.Load())); err != nil {
			return err
		}
	}
	say("ended", map[string]any{
		"submitted": submitted.Load(),
		"committed": subject.committed.Load(),
		"perSecond": perSecond,
	})
	return nil
}

func start(ctx context.Context, pool *pgxpool.Pool, given params) (*peer, func(), error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &benchWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown:     time.Duration(given.Settings.FetchCooldownMs) * time.Millisecond,
		FetchPollInterval: time.Duration(given.Settings.FetchPollIntervalMs) * time.Millisecond,
		Logger:            quiet(),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: given.Settings.MaxWorkers}},
		Workers:           workers,
	})
	if err != nil {
		return nil, nil, err
	}
	subject := &peer{client: client}
	// Large enough that no event is dropped: a dropped one would be a job that never ends here.
	events, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 1_000_000,
		Kinds:    []river.EventKind{river.EventKindJobCompleted},
	})
	go func() {
		for range events {
			subject.committed.Add(1)
		}
	}()
	if err := client.Start(ctx); err != nil {
		return nil, nil, err
	}
	return subject, func() {
		bounded, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.StopAndCancel(bounded)
		unsubscribe()
	}, nil
}

func (subject *peer) keepOpen(ctx context.Context, given life, submitted *atomic.Int64, isOver *atomic.Bool) error {
	for !isOver.Load() {
		open := submitted.Load() - subject.committed.Load()
		if int64(given.OpenMax)-open < lifeBatchJobs {
			time.Sleep(time.Millisecond)
			continue
		}
		submitted.Add(lifeBatchJobs)
		if err := insert(ctx, subject.client, lifeBatchJobs, given.PayloadBytes); err != nil {
			return err
		}
	}
	return nil
}

func (subject *peer) until(ctx context.Context, jobs int) error {
	for subject.committed.Load() < int64(jobs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (subject *peer) mark() map[string]any {
	return map[string]any{"atMs": nowMs(), "committed": subject.committed.Load()}
}

func insert(ctx context.Context, client *river.Client[pgx.Tx], count int, payloadBytes int) error {
	args := benchArgs{Text: strings.Repeat("x", payloadBytes-emptyBytes)}
	batch := make([]river.InsertManyParams, count)
	for i := range batch {
		batch[i] = river.InsertManyParams{Args: args}
	}
	_, err := client.InsertManyFast(ctx, batch)
	return err
}

func pause(ctx context.Context, failed <-chan error, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return fmt.Errorf("submitting ended early: %w", err)
	case <-time.After(wait):
		return nil
	}
}

func say(kind string, what any) {
	line, err := json.Marshal(map[string]any{"kind": kind, "what": what})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func nowMs() float64 { return float64(time.Now().UnixNano()) / 1e6 }

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
