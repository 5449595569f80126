package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/testutils"
	"github.com/tikv/client-go/v2/tikvrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// store is the front of one TiKV process: requests go to the storage, which checks their region, epoch and leader.
type store struct {
	tikvpb.UnimplementedTikvServer
	client  *testutils.MockClient
	faults  *faults
	address string
}

type request interface{ GetContext() *kvrpcpb.Context }

// carryOut runs one request under the faults that are ordered; refuse makes the reply that carries a region error.
func carryOut[Reply any](
	ctx context.Context, s *store, method string, kind tikvrpc.CmdType, in request, refuse func(*errorpb.Error) *Reply,
) (*Reply, error) {
	if err := s.faults.wait(ctx, s.address); err != nil {
		return nil, err
	}
	order := s.faults.take(method, true, keysOf(in))
	if err := order.before(ctx); err != nil {
		return nil, err
	}
	if wrong := order.regionError(in.GetContext().GetRegionId()); wrong != nil {
		return refuse(wrong), nil
	}
	out, err := s.send(ctx, kind, in)
	if err != nil {
		return nil, err
	}
	if err := order.after(ctx); err != nil {
		return nil, err
	}
	reply, fits := out.(*Reply)
	if !fits {
		return nil, status.Errorf(codes.Internal, "%s answered %T", method, out)
	}
	return reply, nil
}

// send runs one request; a key outside of its region, at which the storage panics, becomes an error.
func (s *store) send(ctx context.Context, kind tikvrpc.CmdType, in request) (out any, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			out, err = nil, status.Error(codes.Internal, fmt.Sprint(failure))
		}
	}()
	call := &tikvrpc.Request{Type: kind, Req: in}
	if in.GetContext() != nil {
		call.Context = *in.GetContext()
	}
	reply, err := s.client.SendRequest(ctx, s.address, call, time.Minute)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return reply.Resp, nil
}

func (s *store) KvGet(ctx context.Context, in *kvrpcpb.GetRequest) (*kvrpcpb.GetResponse, error) {
	out, err := carryOut(ctx, s, "KvGet", tikvrpc.CmdGet, in, func(e *errorpb.Error) *kvrpcpb.GetResponse {
		return &kvrpcpb.GetResponse{RegionError: e}
	})
	if err == nil && out.RegionError == nil && out.Error == nil && len(out.Value) == 0 {
		out.NotFound = true // clients tell a missing key from an empty value by it
	}
	return out, err
}

func (s *store) KvBatchGet(ctx context.Context, in *kvrpcpb.BatchGetRequest) (*kvrpcpb.BatchGetResponse, error) {
	return carryOut(ctx, s, "KvBatchGet", tikvrpc.CmdBatchGet, in, func(e *errorpb.Error) *kvrpcpb.BatchGetResponse {
		return &kvrpcpb.BatchGetResponse{RegionError: e}
	})
}

func (s *store) KvScan(ctx context.Context, in *kvrpcpb.ScanRequest) (*kvrpcpb.ScanResponse, error) {
	out, err := carryOut(ctx, s, "KvScan", tikvrpc.CmdScan, in, func(e *errorpb.Error) *kvrpcpb.ScanResponse {
		return &kvrpcpb.ScanResponse{RegionError: e}
	})
	if err == nil && in.KeyOnly {
		for _, pair := range out.Pairs {
			pair.Value = nil
		}
	}
	return out, err
}

func (s *store) KvPrewrite(ctx context.Context, in *kvrpcpb.PrewriteRequest) (*kvrpcpb.PrewriteResponse, error) {
	return carryOut(ctx, s, "KvPrewrite", tikvrpc.CmdPrewrite, in, func(e *errorpb.Error) *kvrpcpb.PrewriteResponse {
		return &kvrpcpb.PrewriteResponse{RegionError: e}
	})
}

func (s *store) KvCommit(ctx context.Context, in *kvrpcpb.CommitRequest) (*kvrpcpb.CommitResponse, error) {
	out, err := carryOut(ctx, s, "KvCommit", tikvrpc.CmdCommit, in, func(e *errorpb.Error) *kvrpcpb.CommitResponse {
		return &kvrpcpb.CommitResponse{RegionError: e}
	})
	if err == nil && out.Error.GetRetryable() != "" {
		// The storage's word for a transaction that was rolled back; TiKV's own is this
		out.Error = &kvrpcpb.KeyError{TxnNotFound: &kvrpcpb.TxnNotFound{StartTs: in.StartVersion, PrimaryKey: in.Keys[0]}}
	}
	return out, err
}

func (s *store) KvBatchRollback(ctx context.Context, in *kvrpcpb.BatchRollbackRequest) (*kvrpcpb.BatchRollbackResponse, error) {
	return carryOut(ctx, s, "KvBatchRollback", tikvrpc.CmdBatchRollback, in, func(e *errorpb.Error) *kvrpcpb.BatchRollbackResponse {
		return &kvrpcpb.BatchRollbackResponse{RegionError: e}
	})
}

// KvCleanup is carried out as a check of the transaction's status: the storage's own clean-up of a transaction that never
// wrote its primary leaves no trace, so that a late prewrite could still succeed, which TiKV excludes.
func (s *store) KvCleanup(ctx context.Context, in *kvrpcpb.CleanupRequest) (*kvrpcpb.CleanupResponse, error) {
	now := in.CurrentTs
	if now == 0 {
		now = math.MaxUint64 // unconditional
	}
	check := &kvrpcpb.CheckTxnStatusRequest{
		Context: in.Context, PrimaryKey: in.Key, LockTs: in.StartVersion, CurrentTs: now, RollbackIfNotExist: true,
	}
	status, err := carryOut(ctx, s, "KvCleanup", tikvrpc.CmdCheckTxnStatus, check, func(e *errorpb.Error) *kvrpcpb.CheckTxnStatusResponse {
		return &kvrpcpb.CheckTxnStatusResponse{RegionError: e}
	})
	if err != nil {
		return nil, err
	}
	out := &kvrpcpb.CleanupResponse{RegionError: status.RegionError, Error: status.Error, CommitVersion: status.CommitVersion}
	if status.LockTtl > 0 {
		out.Error = &kvrpcpb.KeyError{Locked: &kvrpcpb.LockInfo{
			PrimaryLock: in.Key, Key: in.Key, LockVersion: in.StartVersion, LockTtl: status.LockTtl,
		}}
	}
	return out, nil
}

func (s *store) KvCheckTxnStatus(ctx context.Context, in *kvrpcpb.CheckTxnStatusRequest) (*kvrpcpb.CheckTxnStatusResponse, error) {
	return carryOut(ctx, s, "KvCheckTxnStatus", tikvrpc.CmdCheckTxnStatus, in, func(e *errorpb.Error) *kvrpcpb.CheckTxnStatusResponse {
		return &kvrpcpb.CheckTxnStatusResponse{RegionError: e}
	})
}

func (s *store) KvTxnHeartBeat(ctx context.Context, in *kvrpcpb.TxnHeartBeatRequest) (*kvrpcpb.TxnHeartBeatResponse, error) {
	return carryOut(ctx, s, "KvTxnHeartBeat", tikvrpc.CmdTxnHeartBeat, in, func(e *errorpb.Error) *kvrpcpb.TxnHeartBeatResponse {
		return &kvrpcpb.TxnHeartBeatResponse{RegionError: e}
	})
}

func (s *store) KvResolveLock(ctx context.Context, in *kvrpcpb.ResolveLockRequest) (*kvrpcpb.ResolveLockResponse, error) {
	return carryOut(ctx, s, "KvResolveLock", tikvrpc.CmdResolveLock, in, func(e *errorpb.Error) *kvrpcpb.ResolveLockResponse {
		return &kvrpcpb.ResolveLockResponse{RegionError: e}
	})
}

// KvScanLock keeps to the start and the limit that were asked for; the storage itself gives all locks of the region.
func (s *store) KvScanLock(ctx context.Context, in *kvrpcpb.ScanLockRequest) (*kvrpcpb.ScanLockResponse, error) {
	out, err := carryOut(ctx, s, "KvScanLock", tikvrpc.CmdScanLock, in, func(e *errorpb.Error) *kvrpcpb.ScanLockResponse {
		return &kvrpcpb.ScanLockResponse{RegionError: e}
	})
	if err != nil {
		return nil, err
	}
	var kept []*kvrpcpb.LockInfo
	for _, lock := range out.Locks {
		if string(lock.Key) >= string(in.StartKey) && (in.Limit == 0 || len(kept) < int(in.Limit)) {
			kept = append(kept, lock)
		}
	}
	out.Locks = kept
	return out, nil
}

func (s *store) KvPessimisticLock(ctx context.Context, in *kvrpcpb.PessimisticLockRequest) (*kvrpcpb.PessimisticLockResponse, error) {
	return carryOut(ctx, s, "KvPessimisticLock", tikvrpc.CmdPessimisticLock, in, func(e *errorpb.Error) *kvrpcpb.PessimisticLockResponse {
		return &kvrpcpb.PessimisticLockResponse{RegionError: e}
	})
}

func (s *store) KVPessimisticRollback(
	ctx context.Context, in *kvrpcpb.PessimisticRollbackRequest,
) (*kvrpcpb.PessimisticRollbackResponse, error) {
	return carryOut(ctx, s, "KVPessimisticRollback", tikvrpc.CmdPessimisticRollback, in,
		func(e *errorpb.Error) *kvrpcpb.PessimisticRollbackResponse {
			return &kvrpcpb.PessimisticRollbackResponse{RegionError: e}
		})
}
