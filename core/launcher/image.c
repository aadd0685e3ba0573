/* SPDX-License-Identifier: MIT
 *
 * A Lua state that is made when the command is built, and lies in it as it was then.
 *
 * Reading modules, even as bytecode, is a quarter of the time of a command that lives for milliseconds. All that a
 * fresh state holds once they are loaded is the same each time, so it is made once: in a section of the program, whose
 * pages a process then has for nothing, and copies as it writes to them. Its pointers hold because the program is
 * static and stands where it was linked to: each points into the section, or to the program's own code and data.
 *
 * So nothing may be in there that depends on the process or the machine: no module may ask for such when it is loaded
 * (spec/oci/image_spec.lua compares the images of two environments).
 *
 * What is allocated later comes from the kernel, in pieces. Blocks are rounded up to classes, and one that is freed
 * waits for the next of its class. Who frees says how large a block is: none has a head.
 */
#define _GNU_SOURCE
#include "image.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (2u << 20)    /* of the section */
#define PIECE (256u << 10) /* from the kernel, at a time */
#define BIG (32u << 10)    /* from there on blocks are the kernel's own */
#define FINE 512u          /* classes are 16 apart up to here, and then four to a power of two */
#define CLASSES (FINE / 16 + 4 * 6 + 1)

struct free_block {
  struct free_block *next;
};

static struct image {
  lua_State *L; /* NULL: not made */
  char *at, *end;
  struct free_block *free[CLASSES];
  _Alignas(16) char memory[SIZE];
} image __attribute__((section("csn_image"), aligned(4096)));

static bool
is_inside(const void *p)
{
  return (const char *)p >= image.memory && (const char *)p < image.memory + SIZE;
}

/* The class of a size, and how large its blocks are. */
static unsigned
class_of(size_t size, size_t *room)
{
  unsigned power, quarter;

  if (size <= FINE) {
    *room = (size + 15) & ~(size_t)15;
    return (unsigned)(*room / 16);
  }
  power = 63 - (unsigned)__builtin_clzl(size - 1); /* at least 9 */
  quarter = (unsigned)((size - 1) >> (power - 2) & 3);
  *room = ((size_t)quarter + 5) << (power - 2);
  return FINE / 16 + 4 * (power - 9) + quarter + 1;
}

static size_t
whole_pages(size_t size)
{
  return (size + 4095) & ~(size_t)4095;
}

static void *
take(size_t size)
{
  size_t room;
  const unsigned class = class_of(size, &room);
  struct free_block *b = image.free[class];

  if (b) {
    image.free[class] = b->next;
    return b;
  }
  if ((size_t)(image.end - image.at) < room) {
    void *piece;

    if (!image.L) /* as it is made: all is in the section */
      return NULL;
    piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED)
      return NULL;
    image.at = piece;
    image.end = image.at + PIECE;
  }
  b = (void *)image.at;
  image.at += room;
  return b;
}

static void *
take_big(size_t size)
{
  void *p;

  if (image.L) {
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
  }
  size = whole_pages(size);
  if ((size_t)(image.end - image.at) < size)
    return NULL;
  p = image.at;
  image.at += size;
  return p;
}

static void
give_back(void *p, size_t size)
{
  struct free_block *b = p;
  size_t room;
  unsigned class;

  if (size > BIG) {
    if (!is_inside(p)) /* else it is left where it is: a few in all */
      munmap(p, size);
    return;
  }
  class = class_of(size, &room);
  b->next = image.free[class];
  image.free[class] = b;
}

/* lua_Alloc */
static void *
allocate(void *ud, void *old, size_t old_size, size_t size)
{
  size_t was, is;
  void *p;

  (void)ud;
  if (size == 0) {
    if (old)
      give_back(old, old_size);
    return NULL;
  }
  if (old && old_size <= BIG && size <= BIG && class_of(old_size, &was) == class_of(size, &is))
    return old;
  if (old && old_size > BIG && size > BIG && !is_inside(old)) {
    p = mremap(old, old_size, size, MREMAP_MAYMOVE);
    return p == MAP_FAILED ? NULL : p;
  }
  p = size > BIG ? take_big(size) : take(size);
  if (!p && old &&
      size <= old_size) /* which must not fail, and is no harm: whoever is given it needs less */
    return old;
  if (p && old) {
    memcpy(p, old, old_size < size ? old_size : size);
    give_back(old, old_size);
  }
  return p;
}

/* A state to fill, for csn_image_write(). */
lua_State *
csn_image_new(void)
{
  image.at = image.memory;
  image.end = image.memory + SIZE;
  return lua_newstate(allocate, NULL);
}

/* The state that is in the program, or NULL. */
lua_State *
csn_image_open(void)
{
  return image.L;
}

/* Where the section is in the program's file. */
static off_t
place_in_file(void)
{
  const Elf64_Phdr *p = (const void *)(uintptr_t)getauxval(AT_PHDR);

  for (unsigned long n = getauxval(AT_PHNUM); n > 0; n--, p++)
    if (p->p_type == PT_LOAD && (uintptr_t)&image >= p->p_vaddr &&
        (uintptr_t)&image + sizeof(image) <= p->p_vaddr + p->p_filesz)
      return (off_t)(p->p_offset + ((uintptr_t)&image - p->p_vaddr));
  return -1;
}

/* This program with the state in it, to a new file. Returns 0, or an errno. */
int
csn_image_write(lua_State *L, const char *path)
{
  const off_t place = place_in_file();
  int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to, err = 0;
  struct stat st;

  image.L = L;
  memset(
      image.free, 0,
      sizeof(image.free)); /* what was freed lies between what is only read: a copied page each */
  unlink(path);            /* it may run, or have other names */
  to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
  if (from < 0 || to < 0 || fstat(from, &st) < 0)
    err = errno;
  else if (place < 0)
    err = ENOEXEC;
  for (off_t at = 0; err == 0 && at < st.st_size;)
    if (sendfile(to, from, &at, (size_t)(st.st_size - at)) <= 0)
      err = errno ? errno : EIO;
  if (err == 0 && pwrite(to, &image, sizeof(image), place) != (ssize_t)sizeof(image))
    err = errno ? errno : EIO;
  if (from >= 0)
    close(from);
  if (to >= 0 && close(to) < 0 && err == 0)
    err = errno;
  return err;
}
