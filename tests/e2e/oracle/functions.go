package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
	"github.com/spf13/cast"
	"golang.org/x/crypto/bcrypt"
	"sigs.k8s.io/yaml"
)

// What happened while a template ran, by name:
//
//	swallowed  a function met an error and went on with its text, or with nothing
//	bytes      a function was given bytes that are no UTF-8, or line ends of Unicode, and put others in their place
//	nil dict   nothing was merged into a dict that is nil
//	reserve    a part of a list was taken that ends behind the list
//	digits     a number of JSON or YAML prints in another way than it was written
//	impure     a function that gives something else each time
//	large      a function was asked for more than a million of something, and has not been called
//	no value   Go printed or escaped `<no value>`
//	misfit     a verb of printf did not fit its value
type marks struct{ names []string }

func (seen *marks) add(name string) {
	if !slices.Contains(seen.names, name) {
		seen.names = append(seen.names, name)
	}
}

func (seen *marks) failed(err error) {
	if err != nil {
		seen.add("swallowed")
	}
}

// The functions that External Secrets has, but for those that read keys and certificates. Those of Sprig that go on after
// an error are called as they are, and the error is marked beside. The order of `keys` and `values` is that of the names:
// Sprig has none.
func functions(seen *marks) template.FuncMap {
	all := sprig.TxtFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(all, name)
	}
	original := maps.Clone(all)
	for _, name := range impure {
		all[name] = marked(original[name], func([]reflect.Value) { seen.add("impure") })
	}
	maps.Copy(all, template.FuncMap{
		"keys": func(dicts ...map[string]any) []string {
			names := []string{}
			for _, dict := range dicts {
				names = slices.AppendSeq(names, slices.Values(slices.Sorted(maps.Keys(dict))))
			}
			return names
		},
		"values": func(dict map[string]any) []any {
			values := []any{}
			for _, name := range slices.Sorted(maps.Keys(dict)) {
				values = append(values, dict[name])
			}
			return values
		},
		"hexdec": func(text string) string { return decoded(seen, hex.DecodeString, text) },
		"htpasswd": func(user, password string, algorithm ...string) string {
			return htpasswd(seen, user, password, algorithm)
		},
		"toYaml":   func(value any) string { return toYAML(seen, value) },
		"fromYaml": func(text string) map[string]any { return fromYAML(seen, text) },
	})
	watch(seen, all, original)
	maps.Copy(all, shown(seen))
	return all
}

var impure = strings.Fields(`ago date date_in_zone date_modify dateInZone dateModify htmlDate htmlDateInZone must_date_modify
	mustDateModify mustToDate now toDate unixEpoch randAlphaNum randAlpha randAscii randNumeric randInt randBytes shuffle
	genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey
	encryptAES uuidv4`)

// The functions of Go that have a text for what is not there, or does not fit.
func shown(seen *marks) template.FuncMap {
	escaper := func(escape func(...any) string) func(...any) string {
		return func(values ...any) string {
			if slices.Contains(values, nil) {
				seen.add("no value")
			}
			return escape(values...)
		}
	}
	return template.FuncMap{
		"html":     escaper(template.HTMLEscaper),
		"js":       escaper(template.JSEscaper),
		"urlquery": escaper(template.URLQueryEscaper),
		"printf": func(format string, values ...any) string {
			text := fmt.Sprintf(format, values...)
			if strings.Contains(text, "%!") {
				seen.add("misfit")
			}
			return text
		},
	}
}

// Puts a look at the arguments before the functions that may go on after an error.
func watch(seen *marks, all, original template.FuncMap) {
	text := func(name string, parse func(string) error) {
		all[name] = marked(original[name], func(given []reflect.Value) { seen.failed(parse(given[0].String())) })
	}
	text("b64dec", func(text string) error { _, err := base64.StdEncoding.DecodeString(text); return err })
	text("b32dec", func(text string) error { _, err := base32.StdEncoding.DecodeString(text); return err })
	text("regexMatch", func(text string) error { _, err := regexp.Compile(text); return err })
	text("bcrypt", func(text string) error { return tooLong(text) })
	for _, name := range []string{"fromJson", "mustFromJson"} {
		text(name, func(text string) error { return numbers(seen, text) })
	}
	for _, name := range []string{"toJson", "mustToJson", "toPrettyJson", "mustToPrettyJson", "toRawJson", "mustToRawJson"} {
		all[name] = marked(original[name], func(given []reflect.Value) {
			value := given[0].Interface()
			_, err := json.Marshal(value)
			seen.failed(err)
			if err == nil {
				seen.utf8(given[0])
			}
		})
	}
	for _, name := range []string{"repeat", "indent", "nindent", "until", "untilStep", "seq"} {
		all[name] = marked(original[name], func(given []reflect.Value) { seen.small(given) })
	}
	for _, name := range []string{"slice", "mustSlice"} {
		all[name] = marked(original[name], func(given []reflect.Value) { seen.within(given) })
	}
	for _, name := range []string{"mustMerge", "mustMergeOverwrite"} {
		all[name] = marked(original[name], func(given []reflect.Value) { seen.dict(given[0], given[1].Len()) })
	}
	for _, name := range []string{"merge", "mergeOverwrite"} {
		function := original[name].(func(map[string]any, ...map[string]any) any)
		all[name] = func(into map[string]any, others ...map[string]any) any {
			seen.dict(reflect.ValueOf(into), len(others))
			result := function(into, others...)
			if _, failed := result.(string); failed {
				seen.add("swallowed")
			}
			return result
		}
	}
}

// The function, with a look at what it is given first.
func marked(function any, look func([]reflect.Value)) any {
	value := reflect.ValueOf(function)
	return reflect.MakeFunc(value.Type(), func(given []reflect.Value) []reflect.Value {
		look(given)
		if value.Type().IsVariadic() {
			return value.CallSlice(given)
		}
		return value.Call(given)
	}).Interface()
}

// Fails when one of the numbers is large: the memory of this machine is not part of the question.
func (seen *marks) small(given []reflect.Value) {
	for _, value := range given {
		switch value.Kind() {
		case reflect.Slice:
			for i := range value.Len() {
				seen.small([]reflect.Value{value.Index(i)})
			}
		case reflect.Int:
			if number := value.Int(); number > 1e6 || number < -1e6 {
				seen.add("large")
				panic("more than a million")
			}
		}
	}
}

// Marks a part of a list that ends behind the list, in memory that it has in reserve.
func (seen *marks) within(given []reflect.Value) {
	list, indices := given[0].Elem(), given[1]
	if list.Kind() == reflect.Slice && indices.Len() > 1 && cast.ToInt(indices.Index(1).Interface()) > list.Len() {
		seen.add("reserve")
	}
}

// Marks a dict that is nil and stays so, since nothing is merged into it.
func (seen *marks) dict(into reflect.Value, others int) {
	if into.IsNil() && others == 0 {
		seen.add("nil dict")
	}
}

// Marks texts that are no UTF-8.
func (seen *marks) utf8(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		if !utf8.ValidString(value.String()) {
			seen.add("bytes")
		}
	case reflect.Interface:
		seen.utf8(value.Elem())
	case reflect.Slice:
		for i := range value.Len() {
			seen.utf8(value.Index(i))
		}
	case reflect.Map:
		for name, member := range value.Seq2() {
			seen.utf8(name)
			seen.utf8(member)
		}
	}
}

func decoded(seen *marks, decode func(string) ([]byte, error), text string) string {
	data, err := decode(text)
	if err != nil {
		seen.failed(err)
		return err.Error()
	}
	return string(data)
}

// Whether a text is JSON, and marks numbers that a float prints in another way.
func numbers(seen *marks, text string) error {
	var plain any
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		return err
	}
	if !utf8.ValidString(text) {
		seen.add("bytes")
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	digits(seen, value)
	return nil
}

func digits(seen *marks, value any) {
	leaves(value, func(value any) {
		if number, is := value.(json.Number); is {
			if float, _ := number.Float64(); fmt.Sprint(float) != number.String() {
				seen.add("digits")
			}
		}
	})
}

// Calls look with all that is neither a list nor a dict.
func leaves(value any, look func(any)) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			leaves(item, look)
		}
	case map[string]any:
		for _, member := range value {
			leaves(member, look)
		}
	default:
		look(value)
	}
}

func tooLong(password string) error {
	if len(password) > 72 {
		return bcrypt.ErrPasswordTooLong
	}
	return nil
}

// With the third argument that External Secrets gives it.
func htpasswd(seen *marks, user, password string, algorithm []string) string {
	if strings.Contains(user, ":") {
		seen.add("swallowed")
		return "invalid username: " + user
	}
	if len(algorithm) > 0 && algorithm[0] == "sha" {
		sum := sha1.Sum([]byte(password))
		return user + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	seen.failed(err)
	return user + ":" + string(hash)
}

// Line ends of Unicode, and the mark of a byte order: YAML puts others in their place, or none.
const strange = "\u0085\u2028\u2029\ufeff"

func toYAML(seen *marks, value any) string {
	data, err := yaml.Marshal(value)
	seen.failed(err)
	if err != nil {
		return ""
	}
	seen.utf8(reflect.ValueOf(value))
	if written, _ := json.Marshal(value); strings.ContainsAny(string(written), strange) || strings.Contains(string(written), `\u202`) {
		seen.add("bytes")
	}
	return strings.TrimSuffix(string(data), "\n")
}

func fromYAML(seen *marks, text string) map[string]any {
	members := map[string]any{}
	if strings.ContainsAny(text, strange) {
		seen.add("bytes")
	}
	if err := yaml.Unmarshal([]byte(text), &members); err != nil {
		seen.failed(err)
		members["Error"] = err.Error()
		return members
	}
	if written, err := yaml.YAMLToJSON([]byte(text)); err == nil {
		seen.failed(numbers(seen, string(written)))
	}
	floats(seen, members)
	return members
}

// YAML has more ways to write a number: those that print in another way stand in the result.
func floats(seen *marks, value any) {
	leaves(value, func(value any) {
		if float, is := value.(float64); is && fmt.Sprint(float) != strconv.FormatFloat(float, 'f', -1, 64) {
			seen.add("digits")
		}
	})
}
