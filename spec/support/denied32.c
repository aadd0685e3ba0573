/* i386's calls, from a program in 32-bit mode and without a libc: makes a directory, and says what came of it. */
static long
call(long nr, long a, long b, long c)
{
  long rc;

  __asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
  return rc;
}

static void
say(const char *text, long size)
{
  call(4 /* write */, 1, (long)text, size);
}

void
_start(void)
{
  switch (call(39 /* mkdir */, (long)"/tmp/denied32-made", 0755, 0)) {
  case 0:
    say("made, ", 6);
    break;
  case -1:
    say("EPERM, ", 7);
    break;
  default:
    say("?, ", 3);
  }
  if (call(33 /* access */, (long)"/tmp/denied32-made", 0, 0) == 0)
    say("there\n", 6);
  else
    say("not there\n", 10);
  call(1 /* exit */, 0, 0, 0);
}
