// Package fuzz holds the fuzz targets of lockd. They have no code that anybody
// imports: run one with go test ./fuzz -fuzz FuzzDecode.
package fuzz
