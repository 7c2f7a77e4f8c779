//go:build linux

#include "textflag.h"

// func Pause(n uint32)
TEXT ·Pause(SB), NOSPLIT, $0-4
	MOVWU	n+0(FP), R0
	CBZW	R0, done
again:
	ISB	$15
	SUBW	$1, R0
	CBNZW	R0, again
done:
	RET
