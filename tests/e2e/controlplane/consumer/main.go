// The program in the image of every test pod, and of its sandbox.
//
//	consumer             serves 200 on /healthz at $PORT (nothing when it is unset) until SIGTERM;
//	                     with $WATCH_FILE it also prints the SHA-256 of that file each time it changes;
//	                     with $TAKES, values with commas between, it ends with code 3 after $PATIENCE (at once when that
//	                     is unset) if $PASSWORD is none of them
//	consumer copy FILE   writes $PASSWORD to FILE, and ends
//	consumer pause       only waits, and reaps the children that are left to it: it is process 1 of its namespace
package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "pause":
		go reap()
	case len(os.Args) == 3 && os.Args[1] == "copy":
		if err := os.WriteFile(os.Args[2], []byte(os.Getenv("PASSWORD")), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case len(os.Args) == 1:
		start(os.Getenv("PORT"), os.Getenv("WATCH_FILE"))
		check(os.Getenv("PASSWORD"), os.Getenv("TAKES"), os.Getenv("PATIENCE"))
	default:
		fmt.Fprintln(os.Stderr, "usage: consumer [copy FILE | pause]")
		os.Exit(2)
	}
	<-ended
}

// A login that is refused with a wrong password ends some programs at once, and some after a while.
func check(password, takes, patience string) {
	if takes == "" || slices.Contains(strings.Split(takes, ","), password) {
		return
	}
	wait, _ := time.ParseDuration(patience)
	time.AfterFunc(wait, func() {
		fmt.Fprintln(os.Stderr, "consumer: the password is refused")
		os.Exit(3)
	})
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
