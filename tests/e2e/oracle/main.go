// What Go's own text/template makes of a template, with the functions of Sprig, set up as External Secrets sets them up.
//
//	oracle        reads one request a line from standard input and answers each with one line on standard output
//	oracle names  prints the names of the functions, one a line
//
// A request is {"template": text, "data": {name: base64}}, without data for that of the request before, or
// {"verify": {"hash": text, "password": base64}} for what bcrypt has salted. The answer is {"ok": base64} or {"refused": "parse" | "exec", "text": why}, and `marks` says what
// else happened that a reader of the answer should know (see functions.go). A template that takes too long has no answer:
// the program ends instead, since nothing can stop a template in Go.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/template"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	limit = 20 * time.Second
	// Above what Rekey prints at most, so that a larger output is seen as one.
	maxOutput = 4 << 20
)

type request struct {
	Template string `json:"template"`
	// Those of the request before when it has none.
	Data   map[string][]byte `json:"data"`
	Verify *hashed           `json:"verify"`
}

type hashed struct {
	Hash     string `json:"hash"`
	Password []byte `json:"password"`
}

type answer struct {
	Ok      []byte   `json:"ok,omitempty"`
	Refused string   `json:"refused,omitempty"`
	Text    string   `json:"text,omitempty"`
	Marks   []string `json:"marks,omitempty"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "names" {
		for name := range functions(&marks{}) {
			fmt.Println(name)
		}
		return
	}
	requests := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := bufio.NewWriter(os.Stdout)
	var data map[string][]byte
	for {
		line, err := requests.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		check(err)
		asked := request{Data: data}
		check(json.Unmarshal(line, &asked))
		data = asked.Data
		written, err := json.Marshal(inTime(asked))
		check(err)
		_, err = answers.Write(append(written, '\n'))
		check(err)
		check(answers.Flush())
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inTime(asked request) answer {
	given := make(chan answer, 1)
	go func() { given <- reply(asked) }()
	select {
	case known := <-given:
		return known
	case <-time.After(limit):
		fmt.Fprintln(os.Stderr, "too slow:", asked.Template)
		os.Exit(3)
		panic("unreachable")
	}
}

func reply(asked request) answer {
	if asked.Verify != nil {
		if err := bcrypt.CompareHashAndPassword([]byte(asked.Verify.Hash), asked.Verify.Password); err != nil {
			return answer{Refused: "exec", Text: err.Error()}
		}
		return answer{}
	}
	seen := &marks{}
	parsed, err := template.New("t").Option("missingkey=error").Funcs(functions(seen)).Parse(asked.Template)
	if err != nil {
		return answer{Refused: "parse", Text: err.Error()}
	}
	output := &bounded{}
	err = parsed.Execute(output, texts(asked.Data))
	if bytes.Contains(output.Bytes(), []byte("<no value>")) {
		seen.add("no value")
	}
	if bytes.Contains(output.Bytes(), []byte("%!")) {
		seen.add("misfit")
	}
	slices.Sort(seen.names)
	if err != nil {
		return answer{Refused: "exec", Text: err.Error(), Marks: seen.names}
	}
	return answer{Ok: output.Bytes(), Marks: seen.names}
}

func texts(data map[string][]byte) map[string]string {
	texts := make(map[string]string, len(data))
	for name, value := range data {
		texts[name] = string(value)
	}
	return texts
}

// A buffer with an end.
type bounded struct{ bytes.Buffer }

func (output *bounded) Write(more []byte) (int, error) {
	if output.Len()+len(more) > maxOutput {
		return 0, fmt.Errorf("more than %d bytes", maxOutput)
	}
	return output.Buffer.Write(more)
}
