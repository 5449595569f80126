package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/tikv/client-go/v2/testutils"
	"github.com/tikv/client-go/v2/util/codec"
)

// regions are the stores and regions of the cluster. Each store has a peer of each region; leaders are dealt out in turn.
// Splits and steps of the clock are kept in a journal, and done again when the server starts.
type regions struct {
	mu      sync.Mutex
	cluster *testutils.MockCluster
	stores  []uint64
	journal *os.File
	ahead   time.Duration
}

func newRegions(cluster *testutils.MockCluster, addresses []string, journal string) (*regions, error) {
	r := &regions{cluster: cluster, stores: cluster.AllocIDs(len(addresses))}
	for i, address := range addresses {
		cluster.AddStore(r.stores[i], address)
	}
	peers := cluster.AllocIDs(len(addresses))
	cluster.Bootstrap(cluster.AllocID(), r.stores, peers, peers[0])
	if journal == "" {
		return r, nil
	}
	file, err := os.OpenFile(journal, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if err := r.again(lines.Text()); err != nil {
			return nil, err
		}
	}
	r.journal = file
	return r, lines.Err()
}

func (r *regions) again(line string) error {
	word, argument, _ := strings.Cut(line, " ")
	switch word {
	case "split":
		key, err := hex.DecodeString(argument)
		if err != nil {
			return err
		}
		r.split(key)
	case "ahead":
		ms, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			return err
		}
		r.ahead = time.Duration(ms) * time.Millisecond
	default:
		return fmt.Errorf("journal: unknown line %q", line)
	}
	return nil
}

func (r *regions) note(format string, values ...any) error {
	if r.journal == nil {
		return nil
	}
	_, err := fmt.Fprintf(r.journal, format+"\n", values...)
	return err
}

// Split divides the region that has key (as clients know it) there; false when a region begins there already.
func (r *regions) Split(key []byte) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.split(key) {
		return false, nil
	}
	return true, r.note("split %x", key)
}

func (r *regions) split(key []byte) bool {
	encoded := codec.EncodeBytes(nil, key)
	region, _, _ := r.cluster.GetRegionByKey(encoded)
	if string(region.StartKey) == string(encoded) {
		return false
	}
	id, peers := r.cluster.AllocID(), r.cluster.AllocIDs(len(r.stores))
	r.cluster.Split(region.Id, id, key, peers, peers[int(id)%len(peers)])
	return true
}

// Transfer makes the peer of the region of key on another store its leader, and says on which one.
func (r *regions) Transfer(key []byte) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	region, leader, _ := r.cluster.GetRegionByKey(codec.EncodeBytes(nil, key))
	for i, peer := range region.Peers {
		if peer.Id == leader.GetId() {
			next := region.Peers[(i+1)%len(region.Peers)]
			r.cluster.ChangeLeader(region.Id, next.Id)
			return next.StoreId
		}
	}
	return 0
}

// Ahead keeps how far the clock goes before the machine's.
func (r *regions) Ahead(ahead time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.note("ahead %d", ahead.Milliseconds())
}

type regionShown struct {
	ID     uint64 `json:"id"`
	Start  string `json:"start"`
	End    string `json:"end"`
	Leader uint64 `json:"leader"`
	Epoch  uint64 `json:"epoch"`
}

func (r *regions) show() []regionShown {
	shown := []regionShown{}
	for _, one := range r.cluster.ScanRegions(nil, nil, 0) {
		shown = append(shown, regionShown{
			ID: one.Meta.Id, Start: plain(one.Meta.StartKey), End: plain(one.Meta.EndKey),
			Leader: one.Leader.GetStoreId(), Epoch: one.Meta.RegionEpoch.GetVersion(),
		})
	}
	return shown
}

// plain is a boundary as clients know it, in hexadecimal; boundaries are kept memcomparable, as TiKV keeps those of
// transactional data.
func plain(boundary []byte) string {
	if len(boundary) == 0 {
		return ""
	}
	_, key, err := codec.DecodeBytes(boundary, nil)
	if err != nil {
		return "?"
	}
	return hex.EncodeToString(key)
}

func (r *regions) byKey(encoded []byte) (*metapb.Region, *metapb.Peer) {
	region, leader, _ := r.cluster.GetRegionByKey(encoded)
	return region, leader
}
