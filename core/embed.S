/* SPDX-License-Identifier: MIT
 * The runner's program, as bytes in the library. RUNNER is set by the Makefile. */
	.section .rodata
	.balign 16
	.globl csn_runner_start, csn_runner_end
	.hidden csn_runner_start, csn_runner_end
csn_runner_start:
	.incbin RUNNER
csn_runner_end:
	.section .note.GNU-stack, "", %progbits
