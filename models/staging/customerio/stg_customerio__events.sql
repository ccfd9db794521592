{# tests of this view run before the run has marked its batches: new is what no model has read #}
{{ config(meta={'new_batches': 'batch_id'}) }}

with

source as (

    select * from {{ source('customerio', 'customerio_events') }}

),

{{ events_of_lines('source', 'final') }}

select * from final
