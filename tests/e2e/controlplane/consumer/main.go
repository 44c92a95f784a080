// The program in the image of every test pod, and of its sandbox.
//
//	consumer         serves 200 on /healthz at $PORT (nothing when it is unset) until SIGTERM;
//	                 with $WATCH_FILE it also prints the SHA-256 of that file each time it changes
//	consumer pause   only waits, and reaps the children that are left to it: it is process 1 of its namespace
package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "pause":
		go reap()
	case len(os.Args) == 1:
		start(os.Getenv("PORT"), os.Getenv("WATCH_FILE"))
	default:
		fmt.Fprintln(os.Stderr, "usage: consumer [pause]")
		os.Exit(2)
	}
	<-ended
}

func start(port, file string) {
	if port != "" {
		http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
		go func() {
			fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+port, nil))
			os.Exit(1)
		}()
	}
	if file != "" {
		go watch(file)
	}
	fmt.Println("consumer: started")
}

// Volumes change by a renamed link: what counts is what a reader of the path sees, so it is read, not notified.
func watch(file string) {
	last := ""
	for ; ; time.Sleep(200 * time.Millisecond) {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if now := fmt.Sprintf("%x", sha256.Sum256(content)); now != last {
			fmt.Println("consumer: file", now)
			last = now
		}
	}
}

func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for {
			if id, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || id <= 0 {
				break
			}
		}
	}
}
