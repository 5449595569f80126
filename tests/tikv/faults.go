package main

import (
	"context"
	"encoding/hex"
	"math/rand"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fault is one order of what goes wrong.
type fault struct {
	// Method is the name of the call (KvCommit, Tso, …), or empty for every call of a store.
	Method string `json:"method"`
	// Kind: not_leader, epoch_not_match, server_is_busy, region_not_found (region errors) · unavailable (refused by gRPC before
	// anything is done) · lost_reply (done, then UNAVAILABLE) · silent (never answered, not done) · lost_silent (done, never
	// answered) · delay (Ms later).
	Kind string `json:"kind"`
	// Key, in hexadecimal: only calls that name this key.
	Key string `json:"key"`
	// Count is how often, 0: until the faults are cleared.
	Count int `json:"count"`
	// Skip so many calls first.
	Skip int `json:"skip"`
	// Rate is how likely it strikes a call that it could strike; 0 is always.
	Rate float64 `json:"rate"`
	Ms   int     `json:"ms"`
	left int
}

// faults are the orders in force, what is paused, and how often each method was called.
type faults struct {
	mu     sync.Mutex
	orders []*fault
	calls  map[string]int
	struck map[string]int
	paused map[string]chan struct{}
}

func newFaults() *faults {
	return &faults{calls: map[string]int{}, struck: map[string]int{}, paused: map[string]chan struct{}{}}
}

func (f *faults) add(order *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	order.left = order.Count
	f.orders = append(f.orders, order)
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = nil
}

// take counts a call and says what goes wrong with it, nil for nothing.
func (f *faults) take(method string, ofStore bool, keys [][]byte) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	for _, order := range f.orders {
		if order.Method != method && !(order.Method == "" && ofStore) || order.Count > 0 && order.left == 0 {
			continue
		}
		if order.Key != "" && !names(keys, order.Key) {
			continue
		}
		if order.Skip > 0 {
			order.Skip--
			continue
		}
		if order.Rate > 0 && rand.Float64() >= order.Rate {
			continue
		}
		order.left--
		f.struck[method+" "+order.Kind]++
		return order
	}
	return nil
}

func names(keys [][]byte, wanted string) bool {
	for _, key := range keys {
		if hex.EncodeToString(key) == wanted {
			return true
		}
	}
	return false
}

// keysOf are the keys that a request names.
func keysOf(in any) [][]byte {
	switch in := in.(type) {
	case *kvrpcpb.GetRequest:
		return [][]byte{in.Key}
	case *kvrpcpb.BatchGetRequest:
		return in.Keys
	case *kvrpcpb.CommitRequest:
		return in.Keys
	case *kvrpcpb.PrewriteRequest:
		keys := make([][]byte, 0, len(in.Mutations))
		for _, mutation := range in.Mutations {
			keys = append(keys, mutation.Key)
		}
		return keys
	}
	return nil
}

func (f *faults) counts() (calls, struck map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, struck = map[string]int{}, map[string]int{}
	for name, count := range f.calls {
		calls[name] = count
	}
	for name, count := range f.struck {
		struck[name] = count
	}
	return calls, struck
}

// pause lets all calls to what ("pd", or a store's address) wait until resume.
func (f *faults) pause(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused[what] == nil {
		f.paused[what] = make(chan struct{})
	}
}

func (f *faults) resume(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gate := f.paused[what]; gate != nil {
		close(gate)
		delete(f.paused, what)
	}
}

func (f *faults) wait(ctx context.Context, what string) error {
	f.mu.Lock()
	gate := f.paused[what]
	f.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// before does what a fault does before the call is carried out: an error ends it here.
func (f *fault) before(ctx context.Context) error {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case "unavailable":
		return status.Error(codes.Unavailable, "ordered fault: unavailable")
	case "silent":
		<-ctx.Done()
		return ctx.Err()
	case "delay":
		select {
		case <-time.After(time.Duration(f.Ms) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// after does what a fault does once the call was carried out: an error takes the place of its reply.
func (f *fault) after(ctx context.Context) error {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case "lost_reply":
		return status.Error(codes.Unavailable, "ordered fault: the reply is lost")
	case "lost_silent":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// regionError is the region error that the fault stands for, nil when it is of another kind.
func (f *fault) regionError(region uint64) *errorpb.Error {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case "not_leader":
		return &errorpb.Error{Message: f.Kind, NotLeader: &errorpb.NotLeader{RegionId: region}}
	case "epoch_not_match":
		return &errorpb.Error{Message: f.Kind, EpochNotMatch: &errorpb.EpochNotMatch{}}
	case "server_is_busy":
		return &errorpb.Error{Message: f.Kind, ServerIsBusy: &errorpb.ServerIsBusy{Reason: "ordered fault", BackoffMs: uint64(f.Ms)}}
	case "region_not_found":
		return &errorpb.Error{Message: f.Kind, RegionNotFound: &errorpb.RegionNotFound{RegionId: region}}
	}
	return nil
}

var kinds = map[string]bool{
	"not_leader": true, "epoch_not_match": true, "server_is_busy": true, "region_not_found": true, "unavailable": true,
	"lost_reply": true, "silent": true, "lost_silent": true, "delay": true,
}
