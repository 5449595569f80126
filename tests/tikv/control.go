package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// serveControl opens the port by which a test orders faults: JSON over HTTP, one path for each thing.
//
//	GET  /status                              regions with their leaders, stores, calls by method, faults that struck
//	POST /fault  {"method", "kind", …}        see fault; DELETE /fault clears them all
//	POST /split  {"key": hex}                 POST /transfer {"key": hex}: its region gets another leader
//	POST /pause  {"what": "pd" | address}     POST /resume {"what": …}
//	POST /down   {"what": address}            POST /up {"what": address}: closes and opens a store's port
//	POST /ahead  {"ms": n}                    steps PD's clock forward
func serveControl(address string, regions *regions, faults *faults, clock *clock, ports *ports) error {
	routes := http.NewServeMux()
	routes.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		calls, struck := faults.counts()
		reply(w, map[string]any{"regions": regions.show(), "calls": calls, "struck": struck})
	})
	routes.HandleFunc("/fault", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			faults.clear()
			reply(w, true)
			return
		}
		order := &fault{}
		if !read(w, r, order) {
			return
		}
		if !kinds[order.Kind] {
			http.Error(w, fmt.Sprintf("no such kind of fault: %q", order.Kind), http.StatusBadRequest)
			return
		}
		faults.add(order)
		reply(w, true)
	})
	routes.HandleFunc("/split", withKey(func(key []byte) (any, error) { return regions.Split(key) }))
	routes.HandleFunc("/transfer", withKey(func(key []byte) (any, error) { return regions.Transfer(key), nil }))
	for path, change := range map[string]func(string){"/pause": faults.pause, "/resume": faults.resume} {
		routes.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			in := struct{ What string }{}
			if read(w, r, &in) {
				change(in.What)
				reply(w, true)
			}
		})
	}
	for path, change := range map[string]func(string) error{"/down": ports.Close, "/up": ports.Open} {
		routes.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			in := struct{ What string }{}
			if !read(w, r, &in) {
				return
			}
			if err := change(in.What); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			reply(w, true)
		})
	}
	routes.HandleFunc("/ahead", func(w http.ResponseWriter, r *http.Request) {
		in := struct{ Ms int64 }{}
		if !read(w, r, &in) {
			return
		}
		ahead := clock.step(time.Duration(in.Ms) * time.Millisecond)
		if err := regions.Ahead(ahead); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, ahead.Milliseconds())
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listener, routes) }()
	return nil
}

func withKey(do func(key []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := struct{ Key string }{}
		if !read(w, r, &in) {
			return
		}
		key, err := hex.DecodeString(in.Key)
		if err == nil {
			var out any
			if out, err = do(key); err == nil {
				reply(w, out)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
