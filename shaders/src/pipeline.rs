//! Pipelines: a program with its constants and bindings, ready to be dispatched.
//! Invariant: bindings are those the WGSL file declares; all of a program's buffers are bound together, once.

#![allow(unsafe_code)] // Trusted shader modules: without the checks that would keep arrays out of registers.

use crate::device::Device;
use crate::program::Program;

/// How a program uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// A program with constants and buffers; a copy shares both.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    bindings: wgpu::BindGroup,
}

/// Work groups along one dimension of a dispatch, at most.
const GROUPS_MAX: u32 = 32_768;

impl Pipeline {
    /// Builds `program` with override `constants`, bound to `buffers` (binding 0, 1, …).
    pub fn new(
        device: &Device,
        module: &wgpu::ShaderModule,
        program: &Program,
        immediate_bytes: u32,
        constants: &[(&str, f64)],
        buffers: &[(&wgpu::Buffer, Access)],
    ) -> Self {
        let entries: Vec<_> = buffers
            .iter()
            .enumerate()
            .map(|(binding, (_, access))| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: *access == Access::Read },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let label = Some(program.name);
        let layout = device
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: immediate_bytes,
        });
        let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some(program.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        let buffers: Vec<_> = buffers.iter().map(|(buffer, _)| *buffer).collect();
        let bindings = bound(device, &layout, &buffers);
        Self { pipeline, layout, bindings }
    }

    /// The same program bound to other buffers, used as before.
    pub fn rebound(&self, device: &Device, buffers: &[&wgpu::Buffer]) -> Self {
        Self { bindings: bound(device, &self.layout, buffers), ..self.clone() }
    }

    /// Records one dispatch of `n_groups` work groups.
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, immediates: &[u8], n_groups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.set_immediates(0, immediates);
        pass.dispatch_workgroups(n_groups.min(GROUPS_MAX), n_groups.div_ceil(GROUPS_MAX), 1);
    }
}

fn bound(device: &Device, layout: &wgpu::BindGroupLayout, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
    let entries: Vec<_> = buffers
        .iter()
        .enumerate()
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding: binding as u32,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    device.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

/// The module of `program`.
pub fn module(device: &Device, program: &Program) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(program.name),
        source: wgpu::ShaderSource::Wgsl(program.text().into()),
    };
    // SAFETY: the programs are this crate's own. Every index is below its buffer's length by the plan that made it
    // (the parity tests run all shapes), every loop counts to a bound that the plan or the text fixes, and no divisor
    // is zero: steps, extents and lanes are at least one.
    unsafe { device.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
