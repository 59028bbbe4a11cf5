// The contract on net/http.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// number is what stands behind the prefix in the request's path.
func number(request *http.Request, prefix string) int {
	value, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, prefix))
	if err != nil {
		return 0
	}
	return value
}

func main() {
	http.HandleFunc("/status/", func(response http.ResponseWriter, request *http.Request) {
		response.WriteHeader(number(request, "/status/"))
	})
	http.HandleFunc("/sleep/", func(response http.ResponseWriter, request *http.Request) {
		time.Sleep(time.Duration(number(request, "/sleep/")) * time.Millisecond)
		io.WriteString(response, "slept\n")
	})
	http.HandleFunc("/bytes/", func(response http.ResponseWriter, request *http.Request) {
		response.Write(bytes.Repeat([]byte("x"), number(request, "/bytes/")))
	})
	http.HandleFunc("/echo", func(response http.ResponseWriter, request *http.Request) {
		io.Copy(response, request.Body)
	})
	log.Fatal(http.ListenAndServe(os.Getenv("ADDRESS"), nil))
}
