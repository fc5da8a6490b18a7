package socket

import (
	"errors"
	"math/bits"
	"sync"
)

// ErrFull is a Fill of a buffer that may not grow any more.
var ErrFull = errors.New("the buffer is full")

const (
	// BufferMin is the smallest buffer: a usual head fits.
	BufferMin = 4 << 10
	// BufferBody is for bodies: each read of a long one takes so much.
	BufferBody = 64 << 10
	// bufferMax is the largest that is kept for others.
	bufferMax = 1 << 20
)

const (
	minShift = 12 // of BufferMin
	maxShift = 20 // of bufferMax
)

// Buffers lends buffers, by powers of two. It may be used by any number of
// goroutines. The zero value is ready.
type Buffers struct {
	pools [maxShift - minShift + 1]sync.Pool
}

// Get lends a buffer of size bytes at least.
func (b *Buffers) Get(size int) *[]byte {
	shift := max(bits.Len(uint(max(size, 1)-1)), minShift)
	if shift > maxShift {
		buffer := make([]byte, size)
		return &buffer
	}
	if buffer, ok := b.pools[shift-minShift].Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, 1<<shift)
	return &buffer
}

// Put takes a buffer back.
func (b *Buffers) Put(buffer *[]byte) {
	n := cap(*buffer)
	if n&(n-1) != 0 || n < BufferMin || n > bufferMax {
		return
	}
	*buffer = (*buffer)[:n]
	b.pools[bits.Len(uint(n))-1-minShift].Put(buffer)
}

// Reader reads a link through a borrowed buffer, which it has only while there
// is something in it. What Bytes returns stays until Discard, and moves when
// Fill or Reserve make the buffer larger.
type Reader struct {
	link    *Link
	buffers *Buffers
	buffer  *[]byte // nil: none borrowed
	r, w    int     // what is unread: buffer[r:w]
	want    int     // the size of the next buffer; 0: BufferMin
	filled  bool    // the last read took all that there was room for
}

// Init makes the reader read link.
func (b *Reader) Init(link *Link, buffers *Buffers) { b.link, b.buffers, b.want = link, buffers, 0 }

// Bytes returns what is unread.
func (b *Reader) Bytes() []byte {
	if b.buffer == nil {
		return nil
	}
	return (*b.buffer)[b.r:b.w]
}

// Buffered says how much is unread.
func (b *Reader) Buffered() int { return b.w - b.r }

// Discard takes n bytes as read.
func (b *Reader) Discard(n int) {
	b.r += n
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// Release gives an empty buffer back.
func (b *Reader) Release() {
	if b.buffer != nil && b.r == b.w {
		b.drop()
	}
}

// Drop gives the buffer back with what is in it.
func (b *Reader) Drop() {
	if b.buffer != nil {
		b.drop()
	}
}

func (b *Reader) drop() {
	b.buffers.Put(b.buffer)
	b.buffer, b.r, b.w = nil, 0, 0
}

// Lend is Lender's.
func (b *Reader) Lend() []byte {
	if b.buffer == nil {
		b.buffer = b.buffers.Get(b.want)
	}
	return (*b.buffer)[b.w:]
}

// Back is Lender's.
func (b *Reader) Back() { b.Release() }

// Fill reads more behind what is there, waiting for the first byte. The buffer
// grows when it is full, but unread bytes beyond max are ErrFull.
func (b *Reader) Fill(max int) error {
	if b.buffer != nil {
		if b.r > 0 && b.w == len(*b.buffer) {
			b.compact()
		}
		if b.w == len(*b.buffer) {
			if b.w >= max {
				return ErrFull
			}
			b.grow(min(2*len(*b.buffer), max))
		}
	}
	n, err := b.link.ReadLent(b)
	b.w += n
	b.filled = b.buffer != nil && b.w == len(*b.buffer)
	return err
}

// SendThenFill writes p and reads the first of what comes then, as
// Conn.SendThenRead. The link must be plain and the buffer empty.
func (b *Reader) SendThenFill(p []byte, sent func()) (wrote int, err error) {
	wrote, n, err := b.link.Socket.SendThenRead(p, sent, b)
	b.w += n
	b.filled = b.buffer != nil && b.w == len(*b.buffer)
	return wrote, err
}

// FillReady is Fill without waiting: it may read nothing.
func (b *Reader) FillReady() error {
	if b.buffer != nil && b.w == len(*b.buffer) {
		if b.r == 0 {
			return nil
		}
		b.compact()
	}
	n, err := b.link.ReadReady(b.Lend())
	b.w += n
	b.Release()
	return err
}

// Reserve makes the buffer at least so large, and those after it, until Trim.
func (b *Reader) Reserve(size int) {
	b.want = size
	if b.buffer == nil {
		b.buffer = b.buffers.Get(size)
	} else if len(*b.buffer) < size {
		b.grow(size)
	}
}

func (b *Reader) compact() {
	b.w = copy(*b.buffer, (*b.buffer)[b.r:b.w])
	b.r = 0
}

func (b *Reader) grow(size int) {
	larger := b.buffers.Get(size)
	n := copy(*larger, (*b.buffer)[b.r:b.w])
	b.buffers.Put(b.buffer)
	b.buffer, b.r, b.w = larger, 0, n
}

// Detach gives the buffer away, with what has been read of it; what is unread
// goes on in another. So bytes that were read stay where they are.
func (b *Reader) Detach() *[]byte {
	old := b.buffer
	if old == nil {
		return nil
	}
	rest := (*old)[b.r:b.w]
	b.buffer, b.r, b.w, b.want = nil, 0, 0, 0
	if len(rest) != 0 {
		b.buffer = b.buffers.Get(len(rest))
		b.w = copy(*b.buffer, rest)
	}
	return old
}

// Preset puts bytes before what is to be read. The buffer must be empty.
func (b *Reader) Preset(p []byte) {
	b.Reserve(len(p))
	b.w = copy(*b.buffer, p)
}

// Expect says that about size bytes of a body are to come, if that is known; -1
// if not. The buffer grows with what each read brings: a stream of short events
// keeps a small one, a long body gets one of BufferBody.
func (b *Reader) Expect(size int64) {
	if size < 0 || size > BufferBody {
		size = BufferBody
	}
	if b.want < BufferBody && b.filled {
		b.want = 2 * max(b.want, BufferMin)
	}
	if want := min(b.want, int(size)); b.buffer != nil && b.r == b.w && len(*b.buffer) < want {
		b.drop()
	}
}

// Trim gives a large buffer back when it is empty, and ends Reserve.
func (b *Reader) Trim() {
	b.want = 0
	if b.buffer != nil && b.r == b.w && len(*b.buffer) > BufferMin {
		b.drop()
	}
}
