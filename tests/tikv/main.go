// Command tikv-server is a small TiKV cluster for tests: one placement driver and several stores that speak TiKV's gRPC
// protocol over the storage of client-go's mocktikv, with regions that can be split and faults that can be ordered.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/log"
	"github.com/tikv/client-go/v2/testutils"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// mostReceived bounds one request: TiKV refuses raft entries over 8 MiB, which the storage checks too.
const mostReceived = 16 << 20

func main() {
	pdAddress := flag.String("pd", "127.0.0.1:2379", "address of the placement driver")
	stores := flag.String("stores", "127.0.0.1:20160", "addresses of the stores, separated by commas")
	control := flag.String("control", "", "address of the HTTP port for faults, splits and counts; empty: none")
	data := flag.String("data", "", "folder of the data; empty: in memory")
	flag.Parse()
	if err := serve(*pdAddress, strings.Split(*stores, ","), *control, *data); err != nil {
		fmt.Fprintln(os.Stderr, "tikv-server:", err)
		os.Exit(1)
	}
}

func serve(pdAddress string, stores []string, control, data string) error {
	quiet, properties, err := log.InitLogger(&log.Config{Level: "fatal"})
	if err != nil {
		return err
	}
	log.ReplaceGlobals(quiet.WithOptions(zap.WithCaller(false)), properties)

	var mvccFolder, journal string
	if data != "" {
		mvccFolder, journal = filepath.Join(data, "mvcc"), filepath.Join(data, "cluster.log")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
	}
	client, cluster, _, err := testutils.NewMockTiKV(mvccFolder, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	regions, err := newRegions(cluster, stores, journal)
	if err != nil {
		return err
	}
	faults := newFaults()
	clock := &clock{ahead: regions.ahead}

	pdServer := grpc.NewServer(grpc.MaxRecvMsgSize(mostReceived))
	pdpb.RegisterPDServer(pdServer, &placement{regions: regions, faults: faults, clock: clock, client: client, address: pdAddress})
	if err := listen(pdServer, pdAddress); err != nil {
		return err
	}
	ports := &ports{client: client, faults: faults, open: map[string]*grpc.Server{}}
	for _, address := range stores {
		if err := ports.Open(address); err != nil {
			return err
		}
	}
	if control != "" {
		if err := serveControl(control, regions, faults, clock, ports); err != nil {
			return err
		}
	}
	ready, _ := json.Marshal(map[string]any{"pd": pdAddress, "stores": stores, "control": control})
	fmt.Println(string(ready)) // the one line on standard output says that all ports are open

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	return nil
}

// ports are the open ports of stores. A store whose port is closed refuses connections, as one that has crashed; its regions
// stay with it.
type ports struct {
	mu     sync.Mutex
	client *testutils.MockClient
	faults *faults
	open   map[string]*grpc.Server
}

func (p *ports) Open(address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[address] != nil {
		return nil
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(mostReceived))
	tikvpb.RegisterTikvServer(server, &store{client: p.client, faults: p.faults, address: address})
	if err := listen(server, address); err != nil {
		return err
	}
	p.open[address] = server
	return nil
}

// Close breaks all connections, too.
func (p *ports) Close(address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if server := p.open[address]; server != nil {
		server.Stop()
		delete(p.open, address)
	}
	return nil
}

func listen(server *grpc.Server, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() { _ = server.Serve(listener) }()
	return nil
}
