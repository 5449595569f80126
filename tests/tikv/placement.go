package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/tikv/client-go/v2/testutils"
	"github.com/tikv/client-go/v2/tikvrpc"
)

const clusterID = 7

// clock gives out timestamps: milliseconds and, below them, 18 bits that count. They never repeat or go back.
type clock struct {
	mu       sync.Mutex
	ahead    time.Duration
	physical int64
	logical  int64
}

const logicalBits = 18

// take reserves count timestamps and gives the last one's parts.
func (c *clock) take(count int64) (physical, logical int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now().Add(c.ahead).UnixMilli(); now > c.physical {
		c.physical, c.logical = now, 0
	}
	c.logical += count
	if c.logical >= 1<<logicalBits {
		c.physical, c.logical = c.physical+1, count
	}
	return c.physical, c.logical
}

func (c *clock) step(by time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
	return c.ahead
}

// placement is the front of the placement driver: who has which keys, and what time it is.
type placement struct {
	pdpb.UnimplementedPDServer
	regions *regions
	faults  *faults
	clock   *clock
	client  *testutils.MockClient
	address string

	mu        sync.Mutex
	safePoint uint64
}

func header() *pdpb.ResponseHeader { return &pdpb.ResponseHeader{ClusterId: clusterID} }

func (p *placement) begin(ctx context.Context, method string) (*fault, error) {
	if err := p.faults.wait(ctx, "pd"); err != nil {
		return nil, err
	}
	order := p.faults.take(method, false, nil)
	return order, order.before(ctx)
}

func (p *placement) GetMembers(ctx context.Context, _ *pdpb.GetMembersRequest) (*pdpb.GetMembersResponse, error) {
	if _, err := p.begin(ctx, "GetMembers"); err != nil {
		return nil, err
	}
	url := []string{"http://" + p.address}
	member := &pdpb.Member{Name: "pd", MemberId: 1, ClientUrls: url, PeerUrls: url}
	return &pdpb.GetMembersResponse{Header: header(), Members: []*pdpb.Member{member}, Leader: member, EtcdLeader: member}, nil
}

func (p *placement) Tso(stream pdpb.PD_TsoServer) error {
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		order, err := p.begin(stream.Context(), "Tso")
		if err != nil {
			return err
		}
		physical, logical := p.clock.take(int64(in.Count))
		if err := order.after(stream.Context()); err != nil {
			return err
		}
		// The last timestamp of those asked for: clients count back from it
		out := &pdpb.TsoResponse{
			Header: header(), Count: in.Count, Timestamp: &pdpb.Timestamp{Physical: physical, Logical: logical},
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

func answer(region *metapb.Region, leader *metapb.Peer) *pdpb.GetRegionResponse {
	return &pdpb.GetRegionResponse{Header: header(), Region: region, Leader: leader}
}

func (p *placement) GetRegion(ctx context.Context, in *pdpb.GetRegionRequest) (*pdpb.GetRegionResponse, error) {
	if _, err := p.begin(ctx, "GetRegion"); err != nil {
		return nil, err
	}
	return answer(p.regions.byKey(in.RegionKey)), nil
}

func (p *placement) GetRegionByID(ctx context.Context, in *pdpb.GetRegionByIDRequest) (*pdpb.GetRegionResponse, error) {
	if _, err := p.begin(ctx, "GetRegionByID"); err != nil {
		return nil, err
	}
	region, leader, _ := p.regions.cluster.GetRegionByID(in.RegionId)
	return answer(region, leader), nil
}

func (p *placement) ScanRegions(ctx context.Context, in *pdpb.ScanRegionsRequest) (*pdpb.ScanRegionsResponse, error) {
	if _, err := p.begin(ctx, "ScanRegions"); err != nil {
		return nil, err
	}
	out := &pdpb.ScanRegionsResponse{Header: header()}
	for _, one := range p.regions.cluster.ScanRegions(in.StartKey, in.EndKey, int(in.Limit)) {
		out.Regions = append(out.Regions, &pdpb.Region{Region: one.Meta, Leader: one.Leader})
	}
	return out, nil
}

func (p *placement) GetStore(ctx context.Context, in *pdpb.GetStoreRequest) (*pdpb.GetStoreResponse, error) {
	if _, err := p.begin(ctx, "GetStore"); err != nil {
		return nil, err
	}
	return &pdpb.GetStoreResponse{Header: header(), Store: p.regions.cluster.GetStore(in.StoreId)}, nil
}

func (p *placement) GetAllStores(ctx context.Context, _ *pdpb.GetAllStoresRequest) (*pdpb.GetAllStoresResponse, error) {
	if _, err := p.begin(ctx, "GetAllStores"); err != nil {
		return nil, err
	}
	return &pdpb.GetAllStoresResponse{Header: header(), Stores: p.regions.cluster.GetAllStores()}, nil
}

// UpdateGCSafePoint also collects at once what no reader above the safe point can see; TiKV does that in its compactions.
func (p *placement) UpdateGCSafePoint(
	ctx context.Context, in *pdpb.UpdateGCSafePointRequest,
) (*pdpb.UpdateGCSafePointResponse, error) {
	if _, err := p.begin(ctx, "UpdateGCSafePoint"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.SafePoint > p.safePoint {
		p.safePoint = in.SafePoint
		p.collect(ctx)
	}
	return &pdpb.UpdateGCSafePointResponse{Header: header(), NewSafePoint: p.safePoint}, nil
}

func (p *placement) collect(ctx context.Context) {
	for _, one := range p.regions.cluster.ScanRegions(nil, nil, 0) {
		holder := p.regions.cluster.GetStore(one.Leader.GetStoreId())
		where := kvrpcpb.Context{RegionId: one.Meta.Id, RegionEpoch: one.Meta.RegionEpoch, Peer: one.Leader}
		in := &tikvrpc.Request{Type: tikvrpc.CmdGC, Req: &kvrpcpb.GCRequest{Context: &where, SafePoint: p.safePoint}, Context: where}
		// A region that was split meanwhile, or holds an old lock, keeps its old versions until the next safe point
		_, _ = p.client.SendRequest(ctx, holder.GetAddress(), in, time.Minute)
	}
}
