/* SPDX-License-Identifier: MIT
 * The least program: it ends, or with -DPAUSE waits to be killed. Static, without libc. */
void start(void);

void
start(void)
{
#if defined(__x86_64__)
#ifdef PAUSE
  for (;;) {
    long rax = 34; /* pause */

    __asm__ volatile("syscall" : "+a"(rax) : : "rcx", "r11", "memory");
  }
#endif
  __asm__ volatile("syscall" : : "a"(231), "D"(0)); /* exit_group */
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = 94, x0 __asm__("x0") = 0;

#ifdef PAUSE
  for (;;) {
    register long x1 __asm__("x1") = 0, x2 __asm__("x2") = 0, x3 __asm__("x3") = 0;

    x8 = 73; /* ppoll of nothing */
    x0 = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  }
#endif
  __asm__ volatile("svc 0" : : "r"(x8), "r"(x0));
#endif
  __builtin_unreachable();
}
